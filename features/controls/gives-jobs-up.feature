@control @services @gate
Feature: Control: a rollback that gives queued jobs up

  The jobs that the old code cannot read are marked as failed, for somebody to look at. Nobody is charged for those
  orders.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Queued charges are marked as failed
    When release "v2-changes-job-payloads" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "gives-jobs-up"
    Then the drill fails because "every job from before is done"
