@faults @database @critical @gate
Feature: Rolling back while somebody reads on the standby

  A report reads for minutes on the streaming replica, and the standby is told to let it. What the rollback does to a table
  is replayed there only when the reader is done: until then the replica stands still, and everybody who reads from it
  sees the past.

  Scenario: The reader holds back the schema of before
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And a long reader on the streaming replica holds back replay while it is rolled back
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
