@operators @critical @gate
Feature: Rolling back when the machine dies that runs the rollback

  A laptop is closed, a runner is taken away. All that ran on it is gone at once, and nobody wrote down how far it was. The
  operator starts the plan again on another machine. What had been done by then must not be done twice.

  Scenario: A script in one transaction is broken off in its midst
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "in-one-transaction"
    And the machine that runs it dies when step 1 says "UPDATE"
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before

  Scenario: A deploy is broken off between two instances
    Given the service "shop" with 1000 orders
    And 30 journeys per second by 30 users
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the machine that runs it dies when step 1 says "shop-1 runs v1"
    And it is started again from the start
    Then service is restored within 5 minutes
    And every instance serves the target release
