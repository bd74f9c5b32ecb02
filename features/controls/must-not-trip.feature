@control @services @gate
Feature: Control: a breaker that is promised to stay closed and has a reason to trip

  Whoever says that the breaker is quiet must be told when it was not.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 60 journeys per second by 50 users

  Scenario: A release that fails checkouts trips it
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then the breaker stays closed
    And the drill fails because "the breaker stays closed"
