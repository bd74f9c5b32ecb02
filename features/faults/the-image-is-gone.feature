@faults @kubernetes @gate
Feature: Rolling back while the old image cannot be pulled

  The machines have thrown the old image away, and the registry does not give it to them again. The pods of the bad release must
  serve on, and those of before come as soon as their image does.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The rollback waits for the image
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-the-image"
    And the image of v1 cannot be pulled before step 1, until step 1 has ended
    Then service is restored within 5 minutes
    And every instance serves the target release
