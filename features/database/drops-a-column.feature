@database @critical @gate
Feature: Rolling back a release that drops a column

  v2-drops-coupon drops orders.coupon_code. Nobody needs it any more, it is thought; but redeeming a coupon still writes
  it, and billing reads it. The rollback must bring the column back with its data, on every node, and lose no order that
  is placed meanwhile.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 60 journeys per second by 50 users

  Scenario: The plan restores the column and its data
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And no forbidden mix of releases serves
    And users stay signed in
