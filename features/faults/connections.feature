@faults @services @critical @gate
Feature: Rolling back while connections to the database suffer

  The network between services and their database is slow, or gives way, just when the release is taken back.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 20 journeys per second by 30 users

  Scenario: They are slow
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the connections of shop to its database are slowed by 60 ms while it is rolled back
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
    And users stay signed in

  Scenario: Those of a dependant are dropped
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the connections of billing to its database are dropped while it is rolled back
    Then service is restored within 5 minutes
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
    And every job from before is done
