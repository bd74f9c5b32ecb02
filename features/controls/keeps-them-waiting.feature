@control @people @gate
Feature: Control: stakeholders who are kept waiting

  The rollback is right and its milestones are told. Then nobody hears anything until the next update, an hour later.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: Between milestones there is silence
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "keeps-them-waiting"
    Then nobody waits longer than 5 minutes for an update
    Then the drill fails because "nobody waits too long for an update"
