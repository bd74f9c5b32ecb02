@services @critical @gate
Feature: Rolling back a release that fails part of the checkouts

  v2-fails-checkouts works out how an order is shipped, and breaks off when the order is heavy. It changes no schema:
  the old code alone must make service good again, on every instance, and keep all that was ordered meanwhile.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 60 journeys per second by 50 users

  Scenario: The plan brings the old code back to every instance
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And every node has the schema and the data of before
    And billing still reads shop's orders
    And users stay signed in
