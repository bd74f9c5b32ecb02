@control @database @gate
Feature: Control: a rollback that orphans rows

  The constraint that holds lines to their orders is taken away, the orders are deleted, and the constraint comes back
  without looking at what is there.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Lines are left without their orders
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "orphans-lines"
    Then the drill fails because "every reference leads somewhere"
