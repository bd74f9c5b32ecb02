@control @kubernetes @gate
Feature: Control: a rollback that touches more pods than its ceiling

  The plan may touch two pods. It renews those of before, which were good, and the third step would have been the one that helps. Nobody
  is there who would allow it.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: It is stopped before its second step
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "renews-all-pods"
    And nobody approves it
    Then the drill fails because "the rollback touches no more than its ceiling"
