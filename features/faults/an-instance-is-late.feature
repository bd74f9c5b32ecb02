@faults @services @critical @gate
Feature: Rolling back while an instance does not answer

  A machine freezes, or falls over, just when the release is taken back. The others must not wait for it. When it is there
  again it still has the release that everybody else has got rid of.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: It is paused, and comes back when all others are done
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-late-ones"
    And shop-2 is paused before step 1, until step 1 has ended
    Then service is restored within 5 minutes
    And every instance serves the target release
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
    And users stay signed in

  Scenario: It is killed, and comes back when all others are done
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-late-ones"
    And shop-2 is killed before step 1, until step 1 has ended
    Then service is restored within 5 minutes
    And every instance serves the target release
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
    And users stay signed in

  Scenario: It is killed and never comes back
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "goes-on-without"
    And shop-2 is killed before step 1, for good
    Then service is restored within 5 minutes
    And every instance serves the target release
    And every acknowledged order exists exactly once
    And billing still reads shop's orders
    And users stay signed in
