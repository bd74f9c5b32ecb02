@control @services @gate
Feature: Control: a rollback behind the back of the deployer

  The instances are rolled back by hand, and everything is well when the command returns. A few seconds later the
  deployer brings back what it was told to want. A drill that looks away when the command has returned proves nothing.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The deployer brings the bad release back
    When release "v2-is-reconciled" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "behind-the-deployers-back"
    Then the drill fails because "service is restored"
