@services @critical @gate
Feature: Rolling back a release that leaks memory

  v2-leaks-memory keeps 4 MB for every view of a product. No request fails, until the machine has no memory left. The
  rollback must come before that, and memory must be the only thing that was lost.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan brings back the code that keeps nothing
    When release "v2-leaks-memory" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
