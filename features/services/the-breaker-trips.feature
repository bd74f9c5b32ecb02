@services @critical @gate
Feature: A breaker that orders the rollback

  Nobody looks at a screen when v2-fails-checkouts goes out. The breaker knows how often checkouts fail in the steady state,
  and orders the rollback when that share is five times as high. While all is well it must order nothing.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 60 journeys per second by 50 users

  Scenario: It trips, and the plan brings the old code back
    When release "v2-fails-checkouts" is deployed over "v1"
    Then the breaker trips within 10 seconds
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once

  Scenario: It stays closed while a good release comes and goes
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    Then the breaker stays closed
    And service is restored within 5 minutes
