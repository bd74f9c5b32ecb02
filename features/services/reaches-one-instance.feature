@services @critical @gate
Feature: Rolling back a release that reached one instance only

  The rollout was begun on one instance. A third of the users is harmed, and the rollback must find the one instance
  that has the release and leave the others alone.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 60 journeys per second by 30 users

  Scenario: The plan takes the release back from the one instance
    When release "v2-reaches-one-instance" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
