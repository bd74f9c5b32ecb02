@control @database @gate
Feature: Control: a rollback that waits behind an open session

  The plan waits for its lock without a limit. Everybody who reads the table waits behind the plan, until the step is
  given up.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The Down waits behind the session until it is given up
    When release "v2-leaves-a-session-open" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "waits-behind-it"
    Then the drill fails because "the plan ran as written"
