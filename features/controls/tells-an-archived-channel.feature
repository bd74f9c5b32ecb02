@control @people @gate
Feature: Control: a channel that is no more

  The rollback is right, and stakeholders are told on a channel that was archived. It must not delay anything, and must not
  go unnoticed.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: What is told arrives nowhere
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "tells-an-archived-channel"
    Then everything that is told arrives
    Then the drill fails because "everything that is told arrives"
