@control @services @gate
Feature: Control: a rollback that leaves the cache as it is

  The old code is back on every instance. What the bad release has written into the cache is still there, and each page
  that is made of it fails.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The entries of the bad release stay
    When release "v2-poisons-cache" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "leaves-the-cache"
    Then the drill fails because "every cache holds what the release of before can read"
