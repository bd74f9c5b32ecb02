@control @database @gate
Feature: Control: a rollback that holds a lock for long

  The same rows come back, but one by one, under a lock behind which everybody waits. It was tried on a table with ten
  rows.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The Down goes through the table row by row
    When release "v2-moves-refunds" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "row-by-row"
    Then service is restored within 15 seconds
    And the drill fails because "service is restored in time"
