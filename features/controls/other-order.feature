@control @database @alone
Feature: Control: an index that comes back with its columns in another order

  There is an index of that name again, on the same columns. It begins with another one, and is of no use to the
  query.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 100 journeys per second by 30 users

  Scenario: The index is of no use to the query
    When release "v2-slows-queries" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "other-order"
    Then the drill fails because "latency is back at the baseline's"
