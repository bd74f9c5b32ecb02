@control @services @gate
Feature: Control: a grant that comes back where nobody reads

  Grants are not replicated logically. The plan gives the right back on the primary; billing reads the logical
  replica. Shop, which was rolled back, is well.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 30 users

  Scenario: Billing still may not read the replica
    When release "v2-breaks-billing" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "grants-on-the-primary-only"
    Then the drill fails because "dependants still work"
