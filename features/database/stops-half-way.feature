@database @critical @gate
Feature: Rolling back a migration that stopped half-way

  The migration runs outside of a transaction and stops at its second statement. What the first one did stands, and is
  recorded nowhere. The rollback must take away exactly that.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan takes away what stands of the migration
    When release "v2-stops-half-way" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
