@control @services @gate
Feature: Control: a rollback that sends jobs again

  Every charge of the new form is queued again under a new number, those too that were sent already. Customers pay
  twice.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: Charges that were sent are sent again
    When release "v2-changes-job-payloads" is deployed over "v1"
    Then the trap is there
    When it is rolled back by the plan "sends-jobs-again"
    Then the drill fails because "every write had its effects exactly once"
