@services @critical @gate
Feature: Rolling back a change that breaks only a dependant

  v2-breaks-billing takes away the right to read the lines of orders. Shop needs no such right and notices nothing;
  billing can write no invoice.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica and a logical replica
    And 40 journeys per second by 30 users

  Scenario: The plan gives billing its grant back where billing reads
    When release "v2-breaks-billing" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
    And every job from before is done
