@control @faults @database @gate
Feature: Control: a rollback that keeps the subscription to the old primary

  The primary fails over while the schema is rolled back. The standby that took over has no replication slot, and nothing
  tells the logical replica. Shop's users notice nothing; billing reads the past for ever.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The logical replica stays behind
    Given every commit waits for the streaming replica
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "keeps-the-old-subscription"
    And the primary fails over to the streaming replica before step 2, for good
    Then the drill fails because "every node holds the same rows"
