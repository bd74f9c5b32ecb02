@control @database @gate
Feature: Control: a script that exits 0 having done nothing

  The script reads its database from another variable than the plan gives it. Without one there is nothing to do, it
  says, and exits with 0.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The script does nothing and says so
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by the plan "does-nothing"
    Then the drill fails because "every node has the schema of before"
