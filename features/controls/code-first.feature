@control @database @gate
Feature: Control: the old code serves before its schema is back

  The code of before is quickly deployed, so it comes first. Until the column is back, it serves with a schema that it does not
  work with, which service.yaml forbids.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica and a logical replica
    And 30 journeys per second by 30 users

  Scenario: The code is rolled back before the schema
    When release "v2-drops-coupon" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "code-first"
    Then the drill fails because "no forbidden mix of releases serves"
