@control
Feature: Control: a rollback that forgets an instance

  Scenario: One instance keeps the bad release
    Given the service "hello"
    And 30 journeys per second by 10 users
    When release "v2" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-an-instance"
    Then the drill fails because "every instance serves the target release"
