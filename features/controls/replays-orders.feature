@control @database @gate
Feature: Control: a rollback that replays requests under new keys

  Requests are sent again from a queue that does not hold the keys which make that safe. Orders are there twice, and
  one of the two nobody asked for.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Orders are placed again with new keys
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "replays-orders"
    Then the drill fails because "no write appeared that nobody sent"
