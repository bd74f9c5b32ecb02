@control @services @gate
Feature: Control: a restart that is taken for a rollback

  A restart gives the memory back, and every graph looks healthy again. The release is still there, and so is its
  leak.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The instances are restarted with the bad release
    When release "v2-leaks-memory" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "restarts-only"
    Then the drill fails because "every instance serves the target release"
