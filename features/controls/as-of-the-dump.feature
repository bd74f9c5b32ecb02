@control @database @gate
Feature: Control: a restored dump without what was written since

  pg_restore ends well, every total is right again and every constraint holds. What customers ordered after the dump was made, and
  were told that it was placed, is gone.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The dump is restored as it was made
    When release "v2-whole-amounts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "as-of-the-dump"
    Then the drill fails because "every acknowledged write exists exactly once"
