@control @faults @database @gate
Feature: Control: a rollback that does not wait for a subscriber which is behind

  As long as the logical replica follows at once, nobody notices that the plan does not ask how far it is. It is behind just
  now. Orders that name the column are still on their way when the column goes, and it stops at the first of them.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The column is gone before the orders that name it have come
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "does-not-wait"
    And the logical replica applies nothing before step 1, until step 3 has ended
    Then the drill fails because "every node holds the same rows"
