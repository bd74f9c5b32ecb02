@services @critical @gate
Feature: Rolling back a release whose instances crash in a loop

  v2-crashes starts well and breaks off a second later, again and again. Between two crashes it answers, so that a
  deploy that waits until instances are ready sees nothing. The old code must come back on every instance.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan brings the old code back to instances that keep crashing
    When release "v2-crashes" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
