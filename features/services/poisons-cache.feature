@services @critical @gate
Feature: Rolling back a release that fills the cache with entries of its own form

  v2-poisons-cache writes prices with their currency into the cache, and reads both forms itself. Nothing is wrong until
  the rollback: the old code cannot read such an entry, and the pages of those products would fail for half an hour.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan purges the cache once the old code runs everywhere
    When release "v2-poisons-cache" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every cache holds what the release of before can read
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
