@faults @database @critical @gate
Feature: Rolling back while a replica is away

  A replica freezes, or falls over, while the column comes back on the primary. When it is there again it must get all that
  it has missed, and not be found out weeks later.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The streaming replica is paused
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the streaming replica is paused before step 2, until step 2 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: The streaming replica is killed
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the streaming replica is killed before step 2, until step 2 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: The logical replica is killed once it has its column
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the logical replica is killed before step 2, until step 3 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
