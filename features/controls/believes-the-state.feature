@control @infrastructure @opentofu
Feature: Control: a rollback that believes the state

  What is committed is applied, and OpenTofu says that it is in force. What somebody did by hand is not in its state.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: What is committed is applied
    When release "v2-by-hand" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "believes-the-state"
    Then the drill fails because "every instance serves the target release"
