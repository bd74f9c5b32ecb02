@faults @database @critical @gate
Feature: Rolling back while a replica is cut off

  The network between the primary and its replica gives way while the column comes back, and heals when all is done. The
  replica goes on answering all the while, with the past. In the end it must have all that it missed.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 20 journeys per second by 30 users

  Scenario: The streaming replica is cut off while the schema is rolled back
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the streaming replica is cut off before step 1, until step 2 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: Its disk is full while the schema is rolled back
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the disk of the streaming replica is full before step 1, until step 2 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: The clock of the primary is wrong
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the clock of the primary is 90 seconds ahead while it is rolled back
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
