@control @services @gate
Feature: Control: a breaker that is promised to trip before it can

  A breaker that waits for 20 failures cannot trip within a tenth of a second after the first one. The plan is right; what
  is wrong is the promise.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 60 journeys per second by 50 users

  Scenario: It needs more failures than there are in that time
    When release "v2-fails-checkouts" is deployed over "v1"
    Then the breaker trips within 0.1 seconds
    When it is rolled back by its plan
    Then the drill fails because "the breaker trips in time"
