@faults @database @critical @gate
Feature: Rolling back while a replica is behind

  A replica that is behind sees the schema change later than the primary, or not at all. The plan must not rely on a
  subscriber that is up to date, and in the end every node must have the schema and the rows of before.

  Scenario: The streaming replica lags by seconds
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the streaming replica lags by 5 seconds while it is rolled back
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders

  Scenario: The logical replica applies nothing until the primary has lost the column
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users
    When release "v2" is deployed over "v1"
    Then nobody is harmed
    When it is rolled back by its plan
    And the logical replica applies nothing before step 1, until step 2 has ended
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
