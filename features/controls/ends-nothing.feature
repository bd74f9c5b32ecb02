@control @database @gate
Feature: Control: a pre-check in the midst of a plan that finds what step 1 should have ended

  The session has another name since the plan was written, and step 1 ends nothing. The pre-check before step 2 stops
  the plan there, before anybody waits behind it. The rollback did not happen.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan is stopped before its second step
    When release "v2-leaves-a-session-open" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "ends-nothing"
    Then the drill fails because "the plan ran as written"
