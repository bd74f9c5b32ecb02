@control @faults @services @gate
Feature: Control: a rollback that forgets the instance which did not answer

  The plan goes on without the machine that is frozen, which is right as long as it stays so. Then it wakes up, with the
  release that is gone everywhere else. Does anybody notice?

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The instance comes back with the new release
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "goes-on-without"
    And shop-2 is paused before step 1, until step 1 has ended
    Then the drill fails because "every instance serves the target release"
