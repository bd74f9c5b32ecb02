Feature: A service that is not written in Go and has no PostgreSQL

  Background:
    Given the service "notes"
    And 20 journeys per second by 5 users

  Scenario: The old code reads what the new one wrote
    When release "v2-fails-writes" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 2 minutes
    And every acknowledged note exists exactly once

  @control
  Scenario: Control: the rollback forgets what the release had taken
    When release "v2-fails-writes" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-notes"
    Then the drill fails because "every acknowledged write exists exactly once"
