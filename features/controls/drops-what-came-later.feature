@control @database @gate
Feature: Control: a rollback that drops what was written meanwhile

  The shop is as it was when the copy was made. What customers ordered since, and were told that it was placed, is
  gone.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: What came after the copy is deleted
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "drops-what-came-later"
    Then the drill fails because "every acknowledged write exists exactly once"
