@faults @database @critical @gate
Feature: Rolling back while the primary fails over

  The primary dies between the two halves of the schema's way back, and its standby takes over. What the old primary had
  acknowledged must be on the new one: all of it where each commit waited for the standby, and what the budget allows where
  none did. The slot of the logical replica does not follow, so the plan makes its subscription anew.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: Commits wait for the standby, and nothing is lost
    Given every commit waits for the streaming replica
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "fails-over"
    And the primary fails over to the streaming replica before step 2, for good
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: The standby is a second behind, and what is lost stays within the budget
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "fails-over"
    And the primary fails over to the streaming replica, which is 1 seconds behind before step 2, for good
    Then service is restored within 5 minutes
    And at most 100 acknowledged writes are lost, because "the standby is asynchronous"
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
