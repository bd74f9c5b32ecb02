Feature: Rolling back v2

  Scenario: The plan brings v1 back to every instance
    Given the service "hello"
    And 30 journeys per second by 10 users
    When release "v2" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every instance serves the target release
