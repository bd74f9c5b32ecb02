@control @services @gate
Feature: Control: a rollback that purges the cache while the bad release still runs

  The plan has every step that it needs, in the wrong order. The instances that still run the bad release fill the cache
  again before the last of them is gone.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The bad release fills the cache again
    When release "v2-poisons-cache" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "purges-first"
    Then the drill fails because "every cache holds what the release of before can read"
