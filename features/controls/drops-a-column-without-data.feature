@control @database @gate
Feature: Control: a Down that brings a column back without its data

  The column is there again, every instance serves v1 and no request fails. What the column held is gone. A drill that
  does not see this proves nothing.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 50 users

  Scenario: The Down brings the column back empty
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "down-without-data"
    Then the drill fails because "rows that nobody touched are unchanged"
