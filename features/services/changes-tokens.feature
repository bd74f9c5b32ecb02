@services @critical @gate
Feature: Rolling back a release that changes the sessions of users

  v2-changes-tokens changes the session of everybody who comes by into a form that the old code refuses. Nothing is
  wrong until the rollback: then all those users would be signed out.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan changes the sessions back once the old code runs
    When release "v2-changes-tokens" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
