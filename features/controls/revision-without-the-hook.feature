@control @kubernetes @database @gate
Feature: Control: helm rollback to a revision that has no hook

  The first revision is the same code, from before the hook was there. Helm brings it back and reports success; the
  column that it needs stays away.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The column does not come back
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "revision-without-the-hook"
    Then the drill fails because "every node has the schema of before"
