@control @faults @database @gate
Feature: Control: a failover that loses writes, and no budget for them

  The standby that takes over is a second behind. Everything that the plan does is right, and what users had been told is
  gone all the same. Nobody has written down that this may be.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: Acknowledged orders are gone
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "fails-over"
    And the primary fails over to the streaming replica, which is 1 seconds behind before step 2, for good
    Then the drill fails because "every acknowledged write exists exactly once"
