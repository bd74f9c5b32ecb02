@database @critical @gate
Feature: Rolling back a migration that has no way back

  v2-requires-currency adds orders.currency, which must not be empty, and what customers have paid in since stands nowhere
  else: its Down refuses. The rollback goes forward, by a migration more, to a schema on which the old code runs and that
  keeps what was written. The plan states its number, and every node must have what migrations up to it give.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan goes forward by one migration
    When release "v2-requires-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema that the plan states and the data of before
    And billing still reads shop's orders
    And users stay signed in
