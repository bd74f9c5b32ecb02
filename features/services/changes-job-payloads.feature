@services @critical @gate
Feature: Rolling back a release that queues jobs in a new form

  v2-changes-job-payloads queues charges in a form that the old code cannot read. Some are still queued when the old
  code returns. Each order must be charged, and once.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The plan converts the jobs that are queued
    When release "v2-changes-job-payloads" is deployed over "v1"
    Then the trap is there
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
