@services @critical @gate
Feature: Rolling back where a deployer reconciles

  A deployer makes the instances what it was told to want, every few seconds. Rolling back is telling it to want the
  old code, and waiting until it is everywhere.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The deployer is told first, and brings the old code back
    When release "v2-is-reconciled" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
