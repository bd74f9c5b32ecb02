@control @database @gate
Feature: Control: a forward fix that drops what was written

  The old code runs again and no request fails, because the column that it does not fill is gone. So is what customers
  had said that they pay in.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The fix drops the column
    When release "v2-requires-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "drops-it"
    Then the drill fails because "every node has the schema of before"
